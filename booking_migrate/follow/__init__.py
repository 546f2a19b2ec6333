"""Follow an application's writes: what changed is derived again, client by client, and verified."""
