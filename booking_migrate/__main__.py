"""Run the command line as ``python -m booking_migrate``."""

from booking_migrate.cli.app import main

if __name__ == "__main__":
    main()
