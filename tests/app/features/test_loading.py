"""What the pages say of histograms' edges and of how a dictionary is loaded can be read, and pasted, as it stands."""

from app.catalogue.wanted import ROOT
from app.features.source import loaded_from
from inference.dictionaries import Dictionary
from tests.app.world import MODEL, World

SOURCE = "9-starter-res-64"


def test_what_comes_with_gemlens_is_named_from_its_root_and_other_folders_are_not() -> None:
    folder = "starter/gemma-3-270m/resid_post/layer_12_width_2k_l0_medium"
    assert loaded_from(f"dir:{ROOT / folder}") == folder
    assert Dictionary(ROOT / folder).spec.width == 2048
    assert loaded_from("dir:/home/somebody/starter/secret/layer_1") is None
    assert loaded_from("hf:google/gemma-scope-2/a@main") == "hf:google/gemma-scope-2/a@main"
    assert loaded_from(None) is None


async def test_the_source_page_names_a_path_that_can_be_pasted(world: World) -> None:
    folder = "starter/gemma-3-270m/resid_post/layer_12_width_2k_l0_medium"
    async with world.client() as client:
        elsewhere = (await client.get(f"/{MODEL}/{SOURCE}")).text
        async with world.database.raw() as connection:
            await connection.execute(
                "update dictionary set location = %s where location = %s",
                [f"dir:{ROOT / folder}", f"dir:/starter/{SOURCE}"],
            )
        here = (await client.get(f"/{MODEL}/{SOURCE}")).text
    assert f'Dictionary(Path("{folder}"))' in here
    assert str(ROOT) not in here
    assert "the folder that it was added from" in elsewhere


async def test_an_axis_says_no_number_twice(world: World) -> None:
    """Of a histogram with one bar the middle is its beginning."""
    async with world.database.raw() as connection:
        await connection.execute(
            "update feature_detail set histogram = "
            "array_fill(0, array[array_length(histogram, 1) - 1]) || array[5] where index = 6"
        )
    async with world.client() as client:
        axis = (await client.get(f"/{MODEL}/{SOURCE}/6")).text.split('class="axis">')[1].split("</p>")[0]
    edges = [part.partition("<")[0] for part in axis.split("<span>")[1:]]
    assert edges
    assert len(set(edges)) == len(edges)
