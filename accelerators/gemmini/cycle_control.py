"""The controller around Gemmini's mesh, faultless but fed by what comes out of a struck mesh.

Every cycle it offers the mesh an *entry*: which row of A, B and D stands in its buffers, whether it
is valid, and the control that goes with it. An entry reaches row r and column r of the mesh r
cycles later. Responses take the tags of requests out of a queue of six when the identity of what
leaves the mesh is the one expected; a request is accepted only while the queue has room, so a mesh
whose ``last`` or ``valid`` never comes out blocks its controller.

Source: github.com/ucb-bar/gemmini, MeshWithDelays.scala, TagQueue.scala.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.gemmini.requests import MeshRequests

__all__ = ["Controller", "TagQueue"]

Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

IDENTITIES = 5  # MeshWithDelays.scala: max_simultaneous_matmuls = 5 (pe_latency + 1)
QUEUE_ENTRIES = IDENTITIES + 1  # the same file: tagqlen
TAGS = 1 << 6  # a response has six bits for the tag; the host numbers requests
# Responses between a request and the one that carries its tag (the same file:
# matmul_id_of_output): weights act in the next response, results leave in the one after that.
TAG_DELAY = {True: 2, False: 3}


class TagQueue:
    """Expected identities, many copies at once.

    Args:
        trials: Number of copies.
    """

    def __init__(self, trials: int) -> None:
        self.copies = np.arange(trials)
        self.identity = np.zeros((QUEUE_ENTRIES, trials), dtype=np.int64)
        self.tag = np.zeros((QUEUE_ENTRIES, trials), dtype=np.int64)
        self.head = np.zeros(trials, dtype=np.int64)
        self.filled = np.zeros(trials, dtype=np.int64)

    @property
    def has_room(self) -> Bools:
        """``[trials]`` whether one more fits."""
        return self.filled < QUEUE_ENTRIES

    def matches(self, identity: Ints) -> Bools:
        """``[trials]`` whether this is what the head waits for."""
        return (self.filled > 0) & (self.identity[self.head, self.copies] == identity)

    def head_tag(self) -> Ints:
        """``[trials]`` tag of the head."""
        return self.tag[self.head, self.copies]

    def step(self, pushes: Bools, identity: Ints, tag: Ints, pops: Bools) -> None:
        """One clock edge."""
        where = np.flatnonzero(pushes)
        end = (self.head + self.filled)[where] % QUEUE_ENTRIES
        self.identity[end, where], self.tag[end, where] = identity[where], tag[where]
        self.head = (self.head + pops) % QUEUE_ENTRIES
        self.filled += pushes.astype(np.int64) - pops


class Controller:
    """Registers of the controller and the host behind it, many copies at once.

    The attributes that end in ``_log`` are ``[cycles + 1 + rows, trials]``: entry ``t + rows`` is
    what the mesh was offered in cycle t, those before are power-up's.

    Args:
        requests: What the host asks for.
        trials: Number of copies.
        cycles: Cycles that will be run.
    """

    def __init__(self, requests: MeshRequests, trials: int, cycles: int) -> None:
        self.requests = requests
        self.tags, self.totals = TagQueue(trials), TagQueue(trials)
        none = np.zeros(trials, dtype=np.int64)
        self.accepted = none.copy()  # requests
        self.fed, self.entered = none.copy(), none.copy()  # rows, in all
        self.busy = np.zeros(trials, dtype=bool)
        shape = (cycles + 1 + requests.rows, trials)
        self.valid_log, self.last_log = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        self.identity_log = np.zeros(shape, dtype=np.uint8)
        self.request_log = np.full(shape, -1)  # -1: power-up's fields, all zeros
        self.buffer_log = np.full(shape, -1)  # -1: zeros, the last row of `presented`
        self.entered_log = np.zeros(shape, dtype=np.int64)

    def offer(self, t: int) -> None:
        """Log what the mesh is offered in cycle ``t``."""
        at = t + self.requests.rows
        current = self.accepted - 1
        valid = self.busy & (self.fed > self.entered)
        self.valid_log[at] = valid
        self.last_log[at] = valid & (self.entered + 1 == self.requests.first_rows[self.accepted])
        self.identity_log[at] = self.accepted % IDENTITIES
        self.request_log[at], self.buffer_log[at] = current, self.fed - 1
        self.entered_log[at] = self.entered

    def edge(self, t: int, valid: Bools, last: Bools, identity: Ints) -> Ints:
        """The clock edge that ends cycle ``t``.

        Args:
            t: The cycle.
            valid: ``[trials]`` whether a response row comes out in it.
            last: ``[trials]`` whether it is the last of its request.
            identity: ``[trials]``.

        Returns:
            ``[trials]`` the fields of the response row: bit 0 last, bit 1 a tag is known, then
            bits 8 to 13 the tag.
        """
        at = t + self.requests.rows
        enters, ends = self.valid_log[at], self.last_log[at]
        known = self.tags.matches(identity)
        fields: Ints = last.astype(np.int64) + np.where(known, 2 + (self.tags.head_tag() << 8), 0)
        # A queue that has room in this cycle takes a request; it fills and empties at the edge.
        offers = self.accepted < self.requests.requests
        offers &= (~self.busy | ends) & self.tags.has_room & self.totals.has_room
        presents = self.busy & (self.fed < self.requests.first_rows[self.accepted])
        presents &= (self.fed == self.entered) | enters
        leaves = valid & last
        following = np.minimum(self.accepted, self.requests.requests - 1)
        rests = self.requests.weight_stationary[following]
        delay = np.where(rests, TAG_DELAY[True], TAG_DELAY[False])
        expected = (self.accepted + delay) % IDENTITIES
        self.tags.step(offers, expected, self.accepted % TAGS, leaves & known)
        current = (self.accepted + 1) % IDENTITIES
        mine = leaves & self.totals.matches(identity)
        self.totals.step(offers, current, self.accepted, mine)
        self.busy = offers | (self.busy & ~ends)
        self.accepted, self.fed = self.accepted + offers, self.fed + presents
        self.entered = self.entered + enters
        return fields

    def arriving(self, log: NDArray[np.generic], t: int) -> NDArray[np.generic]:
        """``[rows, trials]`` what of a log stands at the ports in cycle ``t``, line by line."""
        at = t - 1 + self.requests.rows
        return log[at - self.requests.rows + 1 : at + 1][::-1]
