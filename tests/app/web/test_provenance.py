"""Where a dictionary came from, as readers elsewhere may know it."""

from app.web.provenance import shown_location


def test_a_folder_of_this_machine_is_shown_by_its_last_two_names() -> None:
    shown = shown_location("dir:/home/ada/secret project/resid_post/layer_9_width_16k_l0_medium")
    assert shown == "resid_post/layer_9_width_16k_l0_medium"


def test_a_place_on_the_hub_is_shown_whole() -> None:
    place = "hf:google/gemma-scope-2-270m-pt/resid_post/layer_9_width_16k_l0_medium@0123abc"
    assert shown_location(place) == place
