"""HTML pages for attacks, runs, sweeps and reproductions."""
