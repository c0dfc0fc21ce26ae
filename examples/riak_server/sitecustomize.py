"""What Basho's client of 2016 and its protobuf still look for where Python has dropped it since."""

import collections
import collections.abc
import inspect

for name in collections.abc.__all__:
    if not hasattr(collections, name):
        setattr(collections, name, getattr(collections.abc, name))

_namedtuple = collections.namedtuple


def namedtuple(typename, field_names, verbose=False, rename=False, **rest):
    """Takes `verbose`, which did nothing but print, and is gone since Python 3.7."""
    return _namedtuple(typename, field_names, rename=rename, **rest)


collections.namedtuple = namedtuple

if not hasattr(inspect, "getargspec"):
    inspect.getargspec = lambda function: inspect.getfullargspec(function)[:4]
