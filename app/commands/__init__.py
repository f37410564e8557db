"""The verbs of `gemlens`, a file for each family. They reach into rooms, and into `inference/`, when they are run."""
