"""HTML pages of attacks, runs, sweeps and reproductions."""
