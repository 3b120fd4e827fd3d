"""The store: schema, migrations, and the one thread that writes."""
