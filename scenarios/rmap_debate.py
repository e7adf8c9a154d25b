"""Which index should find the shadow PTEs of a page: who was right in the argument of July 2010, and from where on?

Shape of the answer: twelve claims, each with a verdict and the point where it turns, measured by running the structures and
beside it a closed form; most hold on one side of a number that the thread did not know. Options are those of `hostsim
debate`, after `--`: hostsim run scenarios/rmap_debate.py -- --sheet cascade-lake --no-files
"""

from __future__ import annotations

from hostsim.cli.debate_cmd import main

if __name__ == "__main__":
    main()
