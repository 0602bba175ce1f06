import os

# torch's profiler tells of each start and stop on standard error. They are of the highest level, above errors.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")
