"""`python -m xllms`."""

from xllms.cli import main

main()
