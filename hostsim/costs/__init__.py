"""Cost sheets, eras of the kernel, kinds of exits: numbers with unit and source."""
