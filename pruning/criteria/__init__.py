"""What losing a set of blocks hurts: one file per criterion, one interface (`criterion.Criterion`)."""
