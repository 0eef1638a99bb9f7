"""A module that ends the program when it is imported, as a badly written plug-in may."""

import sys

sys.exit("this plug-in wants another Python")
