"""Everything on disk that is no film: actor folders, records, assets, checkpoints, pickles."""
