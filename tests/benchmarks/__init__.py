"""The speed of aeframe, measured against references that do the same work.

python -m pip install -e ".[bench]"
python -m tests.benchmarks --data FOLDER                      # all rows, half an hour on an idle machine
python -m tests.benchmarks --data FOLDER --rows 'bare*'       # some
python -m tests.benchmarks --data FOLDER --quick              # does each row work?
python -m tests.benchmarks --data FOLDER --gpu                # the rows that train on a CUDA device

A row has two arms, each in a process of its own, that run back to back in turn, on one thread; each pair
has its own ratio, and the median counts. Training is timed from its start to its end, with validation and
checkpoints. A row fails, and with it the command, where an arm made fewer steps than it should have, ended
with another error than the other, or where aeframe left out a checkpoint or a point that its defaults write.
A goal that is missed is shown and fails nothing. Rows that cannot run say why; disent and autoencoders are
measured where they are installed.
"""
