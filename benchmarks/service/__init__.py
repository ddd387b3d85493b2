"""What the service costs: from submit to start, requests per second, and CPU beside a training run."""
