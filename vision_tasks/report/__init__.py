"""Pictures and tables from result records; reads records, computes nothing."""
