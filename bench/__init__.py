"""The machine in the loop: measuring, profiling, workloads, sweeps and the command line.

Importing the package is cheap and loads none of its modules: the process that measures starts from here.
"""
