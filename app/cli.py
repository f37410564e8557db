"""`gemlens <verb>`: every setting is a flag of the verbs that use it, and a verb's work is a call into a room.

The verbs (`app/commands/`) are the one part of `app/` that may reach into `inference/`, and do so when they are run, so
that `gemlens --help` and the web process never load torch. What goes wrong for reasons outside the code ends in one
sentence on standard error and exit status 1; a wrong command line ends with 2.
"""

import click

from app.commands import dictionaries, exchange, harvesting, jobs, people, serving


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="gemlens")
def main() -> None:
    """A feature browser for Gemma 3 and Gemma Scope 2.

    Every flag can be set in the environment instead: --home is GEMLENS_HOME. docs/settings.md lists them all."""


for verb in (
    serving.serve,
    serving.engine,
    serving.worker,
    serving.doctor,
    dictionaries.models,
    dictionaries.sources,
    dictionaries.add,
    dictionaries.train,
    dictionaries.evaluate,
    harvesting.harvest,
    harvesting.harvests,
    harvesting.sample,
    exchange.import_,
    exchange.export,
    jobs.jobs,
    people.people,
    people.keys,
):
    main.add_command(verb)


if __name__ == "__main__":
    main()
