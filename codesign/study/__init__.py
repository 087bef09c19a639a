"""Studies: what a study file may say, the campaign that runs it and the store of its results."""
