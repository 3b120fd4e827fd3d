"""What checks and channels that speak HTTP share: the libcurl engine, requests, expectations, evidence."""
