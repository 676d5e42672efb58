"""What a competent user of other tools would write, kept plain so that the comparison is fair."""
