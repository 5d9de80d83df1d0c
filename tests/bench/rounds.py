# SPDX-License-Identifier: Apache-2.0
"""Interleaved rounds: in each, fresh processes of everything that is compared carry the same loads by turns."""

import collections
import contextlib
import pathlib
import sys
import tempfile

import loads
import peers

# A peer that takes part: `labels` go into each row of it; `kind` is a key of the makers (peers.PEERS); `build` is the
# checkout that Culvert's programs come from.
Entrant = collections.namedtuple("Entrant", "labels kind build")
Workspace = collections.namedtuple("Workspace", "folder certificates backends")


@contextlib.contextmanager
def workspace():
    """A temporary folder with certificates, and running back ends."""
    with tempfile.TemporaryDirectory(prefix="culvert-bench-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        folder.chmod(0o755)  # OpenSSH runs as another user.
        certificates = folder / "certificates"
        certificates.mkdir()
        peers.make_certificates(certificates)
        yield Workspace(folder, certificates, peers.start_backends(stack, folder / "backends"))


def start(entrant, stack, space, name, makers):
    return peers.start_peer(makers[entrant.kind], stack, space.folder / name, space.certificates, space.backends,
                            entrant.build)


def attempt(row, measure):
    """Returns the row with its figures, or with the error: a peer that fails does not cost the others their figures."""
    try:
        row["figures"] = measure()
    except loads.LoadFailed as failure:
        row["error"] = str(failure)
        labels = [str(row[key]) for key in ("build", "peer", "load") if key in row]
        print(f"{', '.join(labels)}: {failure}", file=sys.stderr, flush=True)
    return row


def rotated(items, number):
    shift = number % len(items)
    return items[shift:] + items[:shift]


def measure(space, selected, groups, rounds, seconds, makers=peers.PEERS):
    """Yields a row for each round, load and entrant. Within a load, the entrants of a group follow one another, in an
    order that rotates from round to round. Loads that build on the one before (loads.HISTORY_LOADS) follow one another
    for each entrant instead, without a pause, since a tunnel forgets within seconds."""
    for number in range(rounds):
        with contextlib.ExitStack() as stack:
            running = [[(entrant, start(entrant, stack, space, f"{number}-{group}-{index}", makers))
                        for index, entrant in enumerate(entrants)] for group, entrants in enumerate(groups)]
            order = [each for group in running for each in rotated(group, number)]
            steps = [(load, *each) for load in selected for each in order]
            if selected is loads.HISTORY_LOADS:
                steps = [(load, *each) for each in order for load in selected]
            for load, entrant, peer in steps:
                if loads.is_for(load, peer):
                    row = {"round": number, "load": load, **entrant.labels}
                    yield attempt(row, lambda: selected[load](peer, seconds))
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)


def measure_idle(space, entrants, counts):
    """Yields rows of memory. Memory hardly varies, so once is enough. Each peer runs alone, since the Pss of shared
    pages depends on the other processes that map them."""
    for entrant in entrants:
        for count in counts:
            with contextlib.ExitStack() as stack:
                peer = start(entrant, stack, space, f"idle-{entrant.kind}-{count}", peers.PEERS)
                at_rest = {}

                def grow():
                    rest, growth = loads.idle(peer, count)
                    at_rest.update({f"Pss MiB, {side}": value / 1024 for side, value in rest.items()})
                    return {f"Pss KiB/stream, {side}": value for side, value in growth.items()}

                row = {"round": 0, **entrant.labels}
                yield attempt({**row, "load": f"{count:,} idle streams"}, grow)
                if at_rest and count == counts[0]:
                    yield {**row, "load": "idle processes", "figures": at_rest}
