"""Surfaces as they look after a year on a shop floor: paint, plastic, wood, cloth, with wear and dirt."""

from __future__ import annotations

from typing import Any

import bpy

Colour = tuple[float, float, float]


def linear(code: str) -> Colour:
    """Linear RGB of a colour as ``#rrggbb``."""
    values = [int(code[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return red, green, blue


class _Nodes:
    """A material's nodes, with what is said often said shortly."""

    def __init__(self, name: str) -> None:
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.shader = self.tree.nodes["Principled BSDF"]

    def add(self, kind: str, **settings: Any) -> Any:
        node = self.tree.nodes.new(f"ShaderNode{kind}")
        for key, value in settings.items():
            setattr(node, key, value)
        return node

    def link(self, output: Any, place: Any) -> None:
        self.tree.links.new(output, place)

    def coordinates(self, scale: tuple[float, float, float], seed: int) -> Any:
        """Object coordinates, elsewhere for each object, so that no two boards are alike."""
        info, place = self.add("ObjectInfo"), self.add("TexCoord")
        shift = self.add("VectorMath", operation="MULTIPLY_ADD")
        self.link(info.outputs["Random"], shift.inputs[0])
        shift.inputs[1].default_value = (37.0, 51.0, 73.0)
        shift.inputs[2].default_value = (seed * 1.7, seed * 2.3, seed * 0.9)
        mapping = self.add("Mapping")
        mapping.inputs["Scale"].default_value = scale
        self.link(place.outputs["Object"], mapping.inputs["Vector"])
        self.link(shift.outputs[0], mapping.inputs["Location"])
        return mapping.outputs[0]

    def noise(self, where: Any, scale: float, detail: float = 5, rough: float = 0.6, distort: float = 0.0) -> Any:
        node = self.add("TexNoise")
        self.link(where, node.inputs["Vector"])
        for key, value in (("Scale", scale), ("Detail", detail), ("Roughness", rough), ("Distortion", distort)):
            node.inputs[key].default_value = value
        return node.outputs["Fac"]

    def range(self, value: Any, low: float, high: float, first: float = 0.0, last: float = 1.0) -> Any:
        node = self.add("MapRange", clamp=True)
        self.link(value, node.inputs[0])
        for place, number in zip((1, 2, 3, 4), (low, high, first, last), strict=True):
            node.inputs[place].default_value = number
        return node.outputs[0]

    def mix(self, share: Any, first: Any, second: Any, kind: str = "MIX") -> Any:
        node = self.add("Mix", data_type="RGBA", blend_type=kind)
        for place, value in ((0, share), (6, first), (7, second)):
            if isinstance(value, (int, float)):
                node.inputs[place].default_value = value
            elif isinstance(value, tuple):
                node.inputs[place].default_value = (*value, 1.0)
            else:
                self.link(value, node.inputs[place])
        return node.outputs[2]


DIRT = (0.075, 0.06, 0.045)
STEEL = (0.5, 0.5, 0.5)


def surface(
    colour: Colour | None,
    *,
    rough: float = 0.5,
    metal: float = 0.0,
    dirt: float = 0.3,
    dirt_colour: Colour = DIRT,
    wear: float = 0.0,
    wear_colour: Colour = STEEL,
    mottle: float = 0.12,
    bump: float = 0.15,
    grain: float = 9.0,
    stretch: tuple[float, float, float] = (1, 1, 1),
    glow: float = 0.0,
    clear: float = 0.0,
    seed: int = 0,
) -> Any:
    """A material.

    Args:
        colour: linear RGB; None takes the vertices' own colours (attribute ``Col``).
        rough, metal: as Principled has them.
        dirt: 0 clean to 1 filthy; it lies in patches.
        wear: share of the paint that is gone; what is below shows ``wear_colour``.
        mottle: how much the colour varies from place to place.
        bump: height of the fine grain.
        grain: its frequency in 1/m.
        stretch: how the patches are stretched, as along the grain of wood.
        glow: emission, for fluorescent colours.
        clear: transmission, for film.
        seed: where the patches lie.
    """
    nodes = _Nodes("surface")
    shader, where = nodes.shader, nodes.coordinates(stretch, seed)
    base: Any = colour
    if colour is None:
        attribute = nodes.add("Attribute", attribute_name="Col")
        base = attribute.outputs["Color"]
    clouds = nodes.noise(where, grain * 0.5)
    base = nodes.mix(nodes.range(clouds, 0.3, 0.7, 0, mottle), base, (0.02, 0.02, 0.02))
    if wear:
        chips = nodes.range(nodes.noise(where, grain * 1.3, 8, 0.75, 1.2), 0.70 - 0.3 * wear, 0.72 - 0.3 * wear)
        base = nodes.mix(chips, base, wear_colour)
        if metal == 0:
            nodes.link(nodes.range(chips, 0, 1, 0, 0.8), shader.inputs["Metallic"])
    if dirt:
        patches = nodes.range(nodes.noise(where, grain * 0.35, 9, 0.7, 0.6), 0.62 - 0.25 * dirt, 0.95 - 0.25 * dirt)
        fine = nodes.range(nodes.noise(where, grain * 6, 3, 0.6), 0.35, 0.75, 0.35, 1.0)
        share = nodes.add("Math", operation="MULTIPLY")
        nodes.link(patches, share.inputs[0])
        nodes.link(fine, share.inputs[1])
        share_scaled = nodes.range(share.outputs[0], 0, 1, 0, min(1.0, 1.6 * dirt))
        base = nodes.mix(share_scaled, base, dirt_colour)
    nodes.link(base, shader.inputs["Base Color"])
    shader.inputs["Metallic"].default_value = metal
    nodes.link(
        nodes.range(clouds, 0.25, 0.75, max(0.02, rough - 0.12), min(1.0, rough + 0.15)), shader.inputs["Roughness"]
    )
    if glow:
        nodes.link(base, shader.inputs["Emission Color"])
        shader.inputs["Emission Strength"].default_value = glow
    if clear:
        shader.inputs["Transmission Weight"].default_value = clear
        shader.inputs["IOR"].default_value = 1.15
    if bump:
        relief = nodes.add("Bump")
        relief.inputs["Strength"].default_value = bump
        relief.inputs["Distance"].default_value = 0.01
        nodes.link(nodes.noise(where, grain * 4, 6, 0.65), relief.inputs["Height"])
        nodes.link(relief.outputs[0], shader.inputs["Normal"])
    return nodes.material


def plastic(code: str, seed: int = 0, **changes: Any) -> Any:
    """Moulded plastic."""
    return surface(linear(code), **{"rough": 0.38, "dirt": 0.3, "bump": 0.06, "grain": 8, "seed": seed, **changes})


def paint(code: str, seed: int = 0, **changes: Any) -> Any:
    """Painted steel, chipped here and there."""
    return surface(
        linear(code),
        **{
            "rough": 0.33,
            "dirt": 0.35,
            "wear": 0.3,
            "bump": 0.05,
            "wear_colour": (0.16, 0.12, 0.1),
            "seed": seed,
            **changes,
        },
    )


def steel(seed: int = 0, **changes: Any) -> Any:
    """Bare or zinc-plated steel, aluminium."""
    return surface(
        (0.55, 0.56, 0.57), **{"rough": 0.34, "metal": 0.9, "dirt": 0.3, "bump": 0.08, "seed": seed, **changes}
    )


def rubber(seed: int = 0, **changes: Any) -> Any:
    """Black rubber, dusty."""
    return surface(
        (0.022, 0.022, 0.023), **{"rough": 0.7, "dirt": 0.3, "dirt_colour": (0.16, 0.15, 0.13), "seed": seed, **changes}
    )


def wood(code: str, seed: int = 0, axis: int = 0, **changes: Any) -> Any:
    """Sawn wood whose grain runs along ``axis``."""
    stretch = tuple(0.12 if number == axis else 1.6 for number in range(3))
    settings = {"rough": 0.75, "dirt": 0.4, "mottle": 0.5, "bump": 0.35, "grain": 14, "stretch": stretch, "seed": seed}
    return surface(linear(code), **{**settings, **changes})


def cardboard(seed: int = 0, **changes: Any) -> Any:
    """Brown corrugated board."""
    return surface(
        linear("#b08a5b"), **{"rough": 0.8, "dirt": 0.25, "mottle": 0.2, "bump": 0.1, "seed": seed, **changes}
    )


def cloth(colour: Colour | None, seed: int = 0, **changes: Any) -> Any:
    """Woven cloth; None takes the vertices' own colours."""
    return surface(
        colour, **{"rough": 0.85, "dirt": 0.15, "mottle": 0.25, "bump": 0.5, "grain": 7, "seed": seed, **changes}
    )


def flat(colour: Colour, strength: float = 1.0) -> Any:
    """Light of one colour, as masks are rendered."""
    nodes = _Nodes("flat")
    nodes.tree.nodes.remove(nodes.shader)
    light = nodes.add("Emission")
    light.inputs["Color"].default_value = (*colour, 1)
    light.inputs["Strength"].default_value = strength
    nodes.link(light.outputs[0], nodes.tree.nodes["Material Output"].inputs["Surface"])
    return nodes.material


def liquid(colour: Colour, rough: float = 0.04) -> Any:
    """The surface of a liquid: its own colour, and what it mirrors; how much it hides is rendered apart (`hiding`)."""
    nodes = _Nodes("liquid")
    nodes.shader.inputs["Base Color"].default_value = (*colour, 1)
    nodes.shader.inputs["Roughness"].default_value = rough
    nodes.shader.inputs["IOR"].default_value = 1.42
    return nodes.material


def hiding(density: float) -> Any:
    """Light as strong as the share of the floor that a liquid hides: ``density`` times the attribute ``Col``."""
    nodes = _Nodes("hiding")
    nodes.tree.nodes.remove(nodes.shader)
    light, thick, split = (
        nodes.add("Emission"),
        nodes.add("Attribute", attribute_name="Col"),
        nodes.add("SeparateColor"),
    )
    nodes.link(thick.outputs["Color"], split.inputs[0])
    nodes.link(nodes.range(split.outputs[0], 0, 1, 0, density), light.inputs["Strength"])
    nodes.link(light.outputs[0], nodes.tree.nodes["Material Output"].inputs["Surface"])
    return nodes.material


def film(tint: Colour, share: float, seed: int = 0) -> Any:
    """Plastic film: it lets ``1 - share`` of what is behind through, and gleams."""
    nodes = _Nodes("film")
    nodes.shader.inputs["Base Color"].default_value = (*tint, 1)
    nodes.shader.inputs["Roughness"].default_value = 0.18
    clear, both = nodes.add("BsdfTransparent"), nodes.add("MixShader")
    facing = nodes.add("LayerWeight")
    facing.inputs["Blend"].default_value = 0.35
    nodes.link(nodes.range(facing.outputs["Facing"], 0, 1, share, min(1.0, share + 0.5)), both.inputs[0])
    nodes.link(clear.outputs[0], both.inputs[1])
    nodes.link(nodes.shader.outputs[0], both.inputs[2])
    nodes.link(both.outputs[0], nodes.tree.nodes["Material Output"].inputs["Surface"])
    return nodes.material
