"""Attacks on what must hold whatever happens: nothing hangs, is closed twice, or stays.

    python -m tests.attack --minutes 30

| attack | what it does |
|---|---|
| cancellation | cancels responses at every suspension and at every turn of the loop |
| disconnects | lets clients leave, stall and fail at random |
| raising | has contents raise what is no `Exception`, in their bodies, calls and closing |
| nesting | nests the bridges between threads and the loop, with fewer threads than streams |
| crowds | runs a thousand streams of one nesting on four threads, for each nesting in turn |
| collecting | leaves iterators to the garbage collector, which runs at any time |
| leaks | answers thousands of short requests, and counts what is left |
| sockets | treats a real server as no client should |

Each runs in a process of its own, with a watchdog that shows where it stands when nothing moves on.
What it did it counts; what it found it prints, with the seed that finds it again.
"""
