"""`python -m roofline.cli`: the command line where its script is not on the path."""

from roofline.cli.main import main

if __name__ == "__main__":
    main()
