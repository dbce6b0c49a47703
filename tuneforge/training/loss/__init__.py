"""What objectives share: likelihoods, pairs, masks, samples."""
