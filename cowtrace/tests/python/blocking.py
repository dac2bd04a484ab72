"""A module whose import does not come to an end before stdin does."""
import sys

print("importing", flush=True)
sys.stdin.read()
