"""The models that a service serves: the `registry` of those loaded, and the folders of `saved` ones."""
