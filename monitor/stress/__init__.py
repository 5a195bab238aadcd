"""The stress core: arrays in, arrays out. ``cell`` is the one definition; ``drivers.run`` applies it."""
