"""Cut-outs: pictures of objects without their surroundings, of which scenes are composed."""
