"""The parts of `.ci/deploy.py`: the emulator, the rewrites that it needs, the stack, and what is done with it."""
