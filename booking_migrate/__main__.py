"""Run the command line as ``python -m booking_migrate``."""

if __name__ == "__main__":
    # Here and not above: processes that work for this one import this module, too, and have no need of a command line.
    from booking_migrate.cli.app import main

    main()
