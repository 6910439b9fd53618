"""Makes the embedded cut-outs: parametric models of the classes, rendered by Blender; see README.md beside this."""

import bpy as bpy  # Blender's mathutils can be imported once it is loaded
