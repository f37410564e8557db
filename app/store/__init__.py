"""What several rooms read and write of features, labels and views: SQL and plain frozen records, no pages."""
