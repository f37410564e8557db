"""Names and facts about Gemma 3 and Gemma Scope 2: pure functions and tables, standard library only.

`models` knows the ten models, `names` every way of naming a dictionary or a feature, `catalogue` which dictionaries
there are. Nothing here touches a network, a disk or a tensor, so both `app` and `inference` may import all of it.
"""
