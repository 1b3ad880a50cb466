"""What people hand in: frames, records and times in many spellings, understood exactly or refused with a sentence."""
