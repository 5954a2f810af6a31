"""``make faults``: all faults on all scenarios, in full; exit status 1 when anything is wrong, stuck, or was not run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from migrator.cli.local_server import find_binaries

from tests.plugins.environment import PGBIN  # isort: skip - first: it clears the environment
from tests.faults import campaign, mixture
from tests.faults.parts import BY_PART, PARTS
from tests.faults.planted.plants import plants
from tests.faults.publication import publish
from tests.faults.stage import Stage
from tests.faults.trial import Trials
from tests.plugins.postgres import guard, scratch_folder

_SIZE = 2 * 2**30  # bytes that the servers may need


def main(words: Sequence[str]) -> int:
    """Run the parts that are asked for and print their table."""
    asked = _arguments(words)
    if asked.mixture is not None:
        return _replay(asked.mixture)
    if asked.planted:
        return _plant(asked.plant)
    parts = [part for part in PARTS if part.name not in asked.without and part.name in (asked.only or BY_PART)]
    scratch = scratch_folder("db_setup-faults-", _SIZE)
    guarding = guard(scratch)
    rows: list[campaign.Row] = []
    with campaign.Pools(scratch, PGBIN) as pools:
        for row in campaign.run(parts, pools, asked.seed, asked.lanes, asked.share):
            rows.append(row)
            campaign.say("  ".join(filter(None, row.cells())))
    guarding.communicate()
    campaign.say(f"\n{campaign.table(rows)}\n\nseed {asked.seed}")
    if asked.publish:
        publish(rows, words, asked.seed, str(find_binaries({"PGBIN": PGBIN})).partition(" (")[0])
    return int(any(row.bad or row.not_run for row in rows))


def _replay(seed: int) -> int:
    """Take the mixture of a seed again, show what it is, and shrink it if it fails; return the exit status."""
    chosen = mixture.Mixture.of(seed)
    campaign.say(chosen.line(seed=seed))
    scratch = scratch_folder("db_setup-faults-", _SIZE)
    guarding = guard(scratch)
    with Stage(scratch / "replay", PGBIN) as stage:
        trials = Trials(stage)
        finding = mixture.take(trials, chosen, f"seed {seed}")
        campaign.say(str(finding))
        bad = bool(finding.wrong or finding.stuck)
        if bad:
            campaign.say(f"shrunk; a line for {mixture.KEPT.name}:")
            campaign.say(mixture.shrink(trials, chosen).line(seed=seed, why=finding.wrong or "stuck"))
    guarding.communicate()
    return int(bad)


def _plant(names: Sequence[str]) -> int:
    """Plant one fault after another and show which test finds it; return 1 where one is not found."""
    status = 0
    for plant in (each for each in plants() if not names or each.name in names):
        why = plant.escapes()
        campaign.say(f"{plant.name}: {f'NOT FOUND: {why}' if why else f'found by {plant.test}'}")
        status |= bool(why)
    return status


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    names = sorted(BY_PART)
    parser.add_argument("--seed", type=int, default=1, help="chooses points, kills and mixtures")
    parser.add_argument("--mixture", type=int, metavar="SEED", help="take the mixture of a seed only, and shrink it if it fails")
    parser.add_argument("--publish", action="store_true", help="put the table into tests/faults/README.md")
    parser.add_argument("--planted", action="store_true", help="plant the faults that are kept; each has to be found")
    parser.add_argument("--plant", action="append", default=[], help="with --planted: this one only; may be repeated")
    parser.add_argument("--only", action="append", choices=names, help="run this part only; may be repeated")
    parser.add_argument("--without", action="append", default=[], choices=names, help="leave a part out; may be repeated")
    parser.add_argument("--share", type=float, default=1.0, help="of the full sizes, such as 0.1")
    parser.add_argument("--lanes", type=int, default=min(2, os.cpu_count() or 1), help="processes at work, one for each processor")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
