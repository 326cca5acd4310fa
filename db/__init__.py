"""The two databases: what the consortium shares (central) and what stays at a hospital (site)."""
