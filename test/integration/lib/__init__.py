"""What the integration tests stand on: a raw client, real servers, and a scripted one."""
