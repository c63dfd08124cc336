"""Pictures of a simulation: cameras, contact sheets, videos."""
