"""The ground floor of everything that works on pictures: arrays, image files, masks, blending, foreground, surface.

``arrays`` says what an image and a mask are here; ``images`` and ``photos`` read and write files; ``foreground`` finds
the part, ``surface`` its grain and light; ``blending``, ``inpainting`` and ``shapes`` change pictures;
``mask_refinement`` finds what a change has changed; ``regions`` takes masks apart.
"""
