"""`fabric doctor`: looks at a host and its fabric, and says what is wrong and what to do about it.

    model.py      what a check is and what it may say
    scene.py      what checks look at: the operating system, the home, the registry
    <family>.py   the checks of one family, with the table `CHECKS` at its end
    examine.py    runs them

A check is a function of the scene that yields verdicts. To add one, write it and put a line into its family's
table; nothing else knows of it.
"""
