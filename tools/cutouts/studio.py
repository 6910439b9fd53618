"""The studio: lights as halls and yards have them, a camera that frames the object, the render as linear RGBA."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

from tools.cutouts import materials

LIGHTS = ("hall", "window", "overcast", "sun", "dim", "lamp")


@dataclass(frozen=True, slots=True)
class View:
    """Where the camera is: degrees around and above, metres away; and the light."""

    azimuth: float
    elevation: float
    distance: float
    light: str
    light_turn: float


def empty() -> None:
    """An empty scene with our settings of Cycles: one thread, few samples, a denoiser, no background."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device, cycles.use_denoising, cycles.denoiser = "CPU", True, "OPENIMAGEDENOISE"
    # Filtering the guides as well would take twice as long as all the rest.
    cycles.denoising_prefilter, cycles.denoising_quality = "FAST", "BALANCED"
    cycles.use_adaptive_sampling = False
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 2, 2
    cycles.transmission_bounces, cycles.transparent_max_bounces = 2, 6
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4.0
    cycles.pixel_filter_type = "BLACKMAN_HARRIS"
    scene.render.film_transparent = True
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.use_persistent_data = True
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.image_settings.color_depth = "32"
    scene.view_settings.view_transform = "Raw"
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    world = bpy.data.worlds.new("world")
    scene.world = world
    world.use_nodes = True
    world.cycles.sampling_method = "NONE"


def models() -> list[Any]:
    """What is to be seen: all but lamps, the camera and the floor."""
    return [item for item in bpy.context.scene.objects if item.type in {"MESH", "CURVE"} and item.visible_camera]


def points_of(items: Sequence[Any]) -> NDArray[np.float64]:
    """The vertices of ``items``, modifiers applied, in the world: ``(n, 3)``."""
    graph = bpy.context.evaluated_depsgraph_get()
    clouds = []
    for item in items:
        shape = item.evaluated_get(graph)
        data = shape.to_mesh()
        local = np.empty(len(data.vertices) * 3, np.float32)
        data.vertices.foreach_get("co", local)
        shape.to_mesh_clear()
        matrix = np.array(shape.matrix_world)
        clouds.append(local.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3])
    return np.concatenate(clouds)


def light(view: View, centre: Vector, size: float, *, mirrored: bool = False) -> None:
    """Lamps and sky for ``view``, in place of those that were there, and the floor that throws light back.

    ``mirrored``: the surroundings are seen in the object, so they have lamps and gates of their own.
    """
    scene = bpy.context.scene
    for item in [item for item in scene.objects if item.type == "LIGHT" or not item.visible_camera]:
        bpy.data.objects.remove(item)
    turn = math.radians(view.light_turn)

    def area(
        place: Sequence[float], power: float, width: float, depth: float, tint: Sequence[float] = (1, 1, 1)
    ) -> None:
        lamp = bpy.data.lights.new("lamp", "AREA")
        lamp.shape, lamp.size, lamp.size_y, lamp.energy, lamp.color = "RECTANGLE", width, depth, power, tint
        item = bpy.data.objects.new("lamp", lamp)
        x, y, z = place
        item.location = (x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn), z)
        item.rotation_euler = (centre - item.location).to_track_quat("-Z", "Y").to_euler()
        scene.collection.objects.link(item)

    sky, wall, strength = (0.55, 0.56, 0.58), (0.42, 0.41, 0.4), 1.0
    if view.light == "hall":
        for x in (-3.2, 0.4, 3.6):
            area((x, 0.6, 5.2), 260, 0.4, 5.0, (1, 0.97, 0.92))
        strength = 0.75
    elif view.light == "window":
        area((4.2, 0.5, 2.4), 330, 3.4, 2.6, (0.9, 0.95, 1))
        strength = 0.5
    elif view.light == "overcast":
        sky, wall, strength = (1.25, 1.3, 1.4), (0.65, 0.66, 0.68), 1.0
    elif view.light == "sun":
        lamp = bpy.data.lights.new("sun", "SUN")
        lamp.energy, lamp.angle, lamp.color = 3.4, 0.012, (1, 0.93, 0.82)
        item = bpy.data.objects.new("sun", lamp)
        item.rotation_euler = (math.radians(48), 0, turn)
        scene.collection.objects.link(item)
        sky, wall, strength = (0.55, 0.68, 0.95), (0.5, 0.5, 0.48), 0.8
    elif view.light == "dim":
        area((-1.8, 2.0, 4.2), 210, 0.7, 0.7, (1, 0.82, 0.6))
        area((3.4, -2.5, 4.6), 90, 0.3, 2.0, (0.9, 0.95, 1))
        strength = 0.4
    else:
        camera = scene.camera.location
        toward = centre + (camera - centre).normalized() * max(1.6, 1.4 * size)
        turn = 0.0
        area((toward.x + 0.3, toward.y, toward.z + 0.5), 34 * max(1.0, size) ** 2, 0.35, 0.35)
        strength = 0.55
    _sky(sky, wall, strength, mirrored)
    _floor()


def _sky(sky: Sequence[float], wall: Sequence[float], strength: float, mirrored: bool) -> None:
    """Lighter above, a band of walls with bright gates in it, so that what is shiny has something to mirror."""
    tree = bpy.context.scene.world.node_tree
    tree.nodes.clear()
    output, back = tree.nodes.new("ShaderNodeOutputWorld"), tree.nodes.new("ShaderNodeBackground")
    place, split, ramp = (
        tree.nodes.new("ShaderNodeTexCoord"),
        tree.nodes.new("ShaderNodeSeparateXYZ"),
        tree.nodes.new("ShaderNodeValToRGB"),
    )
    scale = tree.nodes.new("ShaderNodeMath")
    scale.operation, scale.inputs[1].default_value, scale.inputs[2].default_value = "MULTIPLY_ADD", 0.5, 0.5
    waves, mix = tree.nodes.new("ShaderNodeTexNoise"), tree.nodes.new("ShaderNodeMix")
    mix.data_type, mix.blend_type = "RGBA", "MULTIPLY"
    waves.inputs["Scale"].default_value, waves.inputs["Detail"].default_value = (3.5 if mirrored else 1.7), 1.0
    contrast = tree.nodes.new("ShaderNodeMapRange")
    bands = (0.5, 0.66, 0.25, 9.0) if mirrored else (0.35, 0.65, 0.45, 1.6)
    for number, value in zip((1, 2, 3, 4), bands, strict=True):
        contrast.inputs[number].default_value = value
    stops = ramp.color_ramp.elements
    stops[0].position, stops[0].color = 0.42, (0.12, 0.115, 0.11, 1)
    stops[1].position, stops[1].color = 0.95, (*sky, 1)
    middle = stops.new(0.52)
    middle.color = (*wall, 1)
    link = tree.links.new
    link(place.outputs["Generated"], split.inputs[0])
    link(split.outputs[2], scale.inputs[0])
    link(scale.outputs[0], ramp.inputs[0])
    link(place.outputs["Generated"], waves.inputs["Vector"])
    link(waves.outputs["Fac"], contrast.inputs[0])
    mix.inputs[0].default_value = 1.0
    link(ramp.outputs[0], mix.inputs[6])
    link(contrast.outputs[0], mix.inputs[7])
    link(mix.outputs[2], back.inputs["Color"])
    back.inputs["Strength"].default_value = strength
    link(back.outputs[0], output.inputs["Surface"])


def _floor() -> None:
    data = bpy.data.meshes.new("floor")
    data.from_pydata([(-15, -15, -0.002), (15, -15, -0.002), (15, 15, -0.002), (-15, 15, -0.002)], [], [(0, 1, 2, 3)])
    item = bpy.data.objects.new("floor", data)
    bpy.context.scene.collection.objects.link(item)
    stone = bpy.data.materials.get("stone")
    if stone is None:
        stone = bpy.data.materials.new("stone")
        stone.use_nodes = True
        stone.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.3, 0.29, 0.28, 1)
        stone.node_tree.nodes["Principled BSDF"].inputs["Roughness"].default_value = 0.9
    data.materials.append(stone)
    item.visible_camera = False
    item.visible_glossy = False


def frame(view: View, points: NDArray[np.float64], side: int) -> float:
    """Put the camera and cut its picture to ``points`` with ``side`` pixels on the longer side; metres a pixel."""
    low, high = points.min(axis=0), points.max(axis=0)
    centre = Vector((low + high) / 2)
    camera = bpy.context.scene.camera
    around, above = math.radians(view.azimuth), math.radians(view.elevation)
    # Azimuth 0 looks at the front, which faces -y.
    way = Vector((math.sin(around) * math.cos(above), -math.cos(around) * math.cos(above), math.sin(above)))
    camera.location = centre + way * view.distance
    camera.rotation_euler = (-way).to_track_quat("-Z", "Y").to_euler()
    bpy.context.view_layer.update()
    matrix = np.array(camera.matrix_world.inverted())
    seen = points @ matrix[:3, :3].T + matrix[:3, 3]
    flat = seen[:, :2] / -seen[:, 2:]
    low2, high2 = flat.min(axis=0), flat.max(axis=0)
    extent, middle = (high2 - low2) * 1.03, (low2 + high2) / 2
    longest = float(extent.max())
    lens = camera.data
    lens.sensor_fit, lens.sensor_width, lens.clip_start = "HORIZONTAL", 36.0, 0.01
    render = bpy.context.scene.render
    width, height = (max(16, math.ceil(side * float(part) / longest)) for part in extent)
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    span = longest * width / side  # what the width of the picture shows, in shares of the distance
    lens.lens = 36.0 / span
    # Blender's shift is in shares of the sensor's longer side as its fit has it: the width.
    lens.shift_x, lens.shift_y = float(middle[0]) / span, float(middle[1]) / span
    return longest / side * view.distance


def render(samples: int, *, denoise: bool = True) -> NDArray[np.float32]:
    """The picture, linear and premultiplied: ``(h, w, 4)``, first row on top."""
    scene = bpy.context.scene
    scene.cycles.samples, scene.cycles.use_denoising = samples, denoise
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = str(Path(folder) / "view.exr")
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath)
        width, height = image.size
        values = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(values)
        bpy.data.images.remove(image)
    return values.reshape(height, width, 4)[::-1]


@contextmanager
def _unlit() -> Iterator[None]:
    """Nothing but the objects' own light."""
    scene = bpy.context.scene
    strength = scene.world.node_tree.nodes["Background"].inputs["Strength"]
    before, strength.default_value = strength.default_value, 0
    lamps = [item for item in scene.objects if item.type == "LIGHT"]
    for lamp in lamps:
        lamp.hide_render = True
    yield
    strength.default_value = before
    for lamp in lamps:
        lamp.hide_render = False


def _render_as(materials_of: Mapping[str, Any], items: Sequence[Any]) -> NDArray[np.float32]:
    """The picture of ``items`` in other materials, by their names, unlit."""
    before = {item.name: item.data.materials[0] for item in items}
    for item in items:
        item.data.materials[0] = materials_of[item.name]
    with _unlit():
        picture = render(2, denoise=False)
    for item in items:
        item.data.materials[0] = before[item.name]
    return picture


def render_masks(items: Sequence[Any], parts: Sequence[Sequence[Any]]) -> list[NDArray[np.bool_]]:
    """Where each of ``parts`` (at most two) is seen in the picture, all else of ``items`` in front of it left out."""
    black = materials.flat((0, 0, 0), 0.0)
    tints = [materials.flat((1, 0, 0)), materials.flat((0, 1, 0))]
    shown = {item.name: tints[number] for number, group in enumerate(parts) for item in group}
    picture = _render_as({item.name: shown.get(item.name, black) for item in items}, items)
    return [picture[..., number] > 0.5 for number in range(len(parts))]


def render_liquid(items: Sequence[Any], samples: int) -> NDArray[np.float32]:
    """A liquid whose alpha is what it hides and mirrors.

    The two are rendered apart, since rays that choose by chance between the liquid and the floor would be grain.
    """
    surface = render(samples)
    cover = _render_as({item.name: materials.hiding(item["density"]) for item in items}, items)[..., 0]
    inside = np.clip(surface[..., 3], 0, 1)
    colour = surface[..., :3] / np.maximum(inside, 1e-3)[..., None]
    # Where it mirrors a lamp, the floor below is not seen.
    gleam = np.clip(colour.min(axis=-1) - 0.12, 0, 1) * np.clip(cover * 4, 0, 1)
    alpha = np.clip(np.maximum(cover, gleam), 0, 1)
    return np.concatenate([colour * alpha[..., None], alpha[..., None]], axis=-1)
