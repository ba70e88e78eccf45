"""Bayesian polishing starts from our motion, on particles whose places and tracks are known."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flexalign.io.star import read_star, star_list, star_loop, write_star
from flexalign.simulate import specimen
from flexalign.simulate.movie import _Canvas

BOX_PX = 96
FINEST_A = 3.9
# The simulator turns atoms (y, x, depth); RELION wants (x, y, z), also right-handed.
TO_RELION = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


def places_and_turns(movie):
    """Where the simulator put its particles (n, 2) (y, x), px, and how it turned them."""
    canvas = _Canvas.around(movie.settings, movie.motion)
    rng = np.random.default_rng([movie.settings.seed, 2])
    places = specimen._places_px(movie.settings, canvas.shape_px, rng)
    turns = [
        TO_RELION @ Rotation.random(random_state=rng).as_matrix() @ TO_RELION.T for _ in places
    ]
    return places - np.array(canvas.offset_px), turns


def angles_deg(turn):
    """RELION's rot, tilt and psi of the matrix that turns the map as the particle is turned."""
    tilt = np.arccos(np.clip(turn[2, 2], -1, 1))
    rot, psi = np.arctan2(turn[2, 1], turn[2, 0]), np.arctan2(turn[1, 2], -turn[0, 2])
    return [float(np.degrees(angle)) for angle in (rot, tilt, psi)]


def write_reference(folder, settings):
    """The particle's map as two halves, in units of the noise of a whole exposure."""
    atoms = (specimen.particle_atoms_A() @ TO_RELION.T)[:, ::-1] / settings.pixel_size_A
    edges = [np.arange(BOX_PX + 1) - 0.5] * 3
    density, _ = np.histogramdd(atoms + BOX_PX // 2, bins=edges)
    k = np.fft.fftfreq(BOX_PX) / settings.pixel_size_A
    last = np.fft.rfftfreq(BOX_PX) / settings.pixel_size_A
    frequency = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + last**2).astype(np.float32)
    wavelength_A, gamma = specimen.electron_wavelength_A(settings.voltage_kV)
    amplitude = specimen.protein_scattering_A(frequency) * 2 * wavelength_A * gamma
    amplitude *= np.exp(-specimen.B_FACTOR_A2 / 4 * frequency**2)
    amplitude *= settings.contrast / settings.pixel_size_A**2
    amplitude *= np.sqrt(settings.frame_count * settings.electrons_per_px)
    amplitude[frequency > 0.5 / settings.pixel_size_A] = 0
    volume = np.fft.irfftn(np.fft.rfftn(density) * amplitude, s=density.shape, axes=(0, 1, 2))
    radius_A = np.sqrt(sum((np.indices(volume.shape) - BOX_PX // 2) ** 2)) * settings.pixel_size_A
    mask = np.clip((80 - radius_A) / 8, 0, 1)
    for name, values in (("half1", volume), ("half2", volume), ("mask", mask)):
        with mrcfile.new(folder / f"{name}.mrc", values.astype(np.float32)) as mrc:
            mrc.voxel_size = settings.pixel_size_A
    shell = np.arange(1, BOX_PX // 2 + 1)
    shell_per_A = shell / (BOX_PX * settings.pixel_size_A)
    fsc = np.clip(1.02 - (FINEST_A * shell_per_A) ** 6, 0, 0.999)
    general = {"rlnFinalResolution": FINEST_A, "rlnMaskName": "mask.mrc"}
    general |= {"rlnUnfilteredMapHalf1": "half1.mrc", "rlnUnfilteredMapHalf2": "half2.mrc"}
    table = {
        "rlnSpectralIndex": list(range(BOX_PX // 2 + 1)),
        "rlnResolution": [0.0, *map(float, shell_per_A)],
        "rlnAngstromResolution": [999.0, *map(float, 1 / shell_per_A)],
        "rlnFourierShellCorrelationCorrected": [1.0, *map(float, fsc)],
    }
    write_star(folder / "fsc.star", [star_list("general", general), star_loop("fsc", table)])


def write_particles(path, movie, micrograph):
    """RELION's list of the particles that are well inside the frame; their true places (n, 2)."""
    settings, rows, kept = movie.settings, [], []
    height, width = settings.shape_px
    for (y, x), turn in zip(*places_and_turns(movie), strict=True):
        edge = min(y, x, height - y, width - x)
        if edge > BOX_PX // 2:
            kept.append((y, x))
            offset_A = [(round(p) - p) * settings.pixel_size_A for p in (x, y)]
            place = [float(round(x)), float(round(y)), f"{len(kept)}@p.mrcs", micrograph, 1]
            ctf = [settings.defocus_um * 1e4, settings.defocus_um * 1e4, 0.0]
            rows.append([*place, *ctf, *angles_deg(turn), *offset_A, 1 + len(kept) % 2])
    labels = [
        "CoordinateX", "CoordinateY", "ImageName", "MicrographName", "OpticsGroup", "DefocusU",
        "DefocusV", "DefocusAngle", "AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst",
        "OriginYAngst", "RandomSubset",
    ]  # fmt: skip
    columns = {f"rln{name}": [row[i] for row in rows] for i, name in enumerate(labels)}
    optics = {
        "rlnOpticsGroupName": ["og1"],
        "rlnOpticsGroup": [1],
        "rlnMicrographOriginalPixelSize": [settings.pixel_size_A],
        "rlnVoltage": [settings.voltage_kV],
        "rlnSphericalAberration": [specimen.CS_MM],
        "rlnAmplitudeContrast": [specimen.AMPLITUDE_CONTRAST],
        "rlnImagePixelSize": [settings.pixel_size_A],
        "rlnImageSize": [BOX_PX],
        "rlnImageDimensionality": [2],
    }
    write_star(path, [star_loop("optics", optics), star_loop("particles", columns)])
    return np.array(kept)


def track_error_A(path, movie, places):
    """Distance of RELION's tracks from the true ones, root mean square, means removed."""
    blocks = read_star(path)
    tracks = np.array(
        [
            [list(map(float, block[f"rlnOrigin{axis}Angst"])) for axis in "YX"]
            for block in blocks.values()
            if "rlnOriginXAngst" in block
        ]
    ).transpose(0, 2, 1)
    frames = np.arange(movie.settings.frame_count)
    true = np.stack([np.stack(movie.displacement_at(frames, y, x), axis=-1) for y, x in places])
    difference = tracks - true * movie.settings.pixel_size_A
    difference -= difference.mean(axis=1, keepdims=True)
    return float(np.sqrt((difference**2).sum(axis=-1).mean()))


@pytest.fixture(scope="module")
def polished(project, relion, our_job, relion_job, tmp_path_factory):
    """Error in Angstrom of polished tracks by whose motion they started from, and how long."""
    folder = tmp_path_factory.mktemp("reference")
    write_reference(folder, project.movie.settings)
    errors = {}
    for job in (our_job, relion_job):
        particles = folder / "particles.star"
        places = write_particles(particles, project.movie, f"{job}/Movies/a_b.mrc")
        assert len(places) > 10
        for rounds in (0, 10000):
            out = folder / f"{job.replace('/', '_')}_{rounds}"
            relion(
                project.folder, "motion_refine", "--i", particles, "--f", folder / "fsc.star",
                "--m1", folder / "half1.mrc", "--m2", folder / "half2.mrc",
                "--mask", folder / "mask.mrc", "--corr_mic", f"{job}/corrected_micrographs.star",
                "--o", f"{out}/", "--s_vel", 2, "--max_iters", rounds, "--j", 2,
            )  # fmt: skip
            path = out / "Movies" / "a_b_tracks.star"
            errors[job, rounds] = track_error_A(path, project.movie, places)
    return errors


def test_polishing_starts_on_the_true_tracks(polished, our_job, relion_job):
    assert polished[our_job, 0] < 0.2
    assert polished[our_job, 0] < polished[relion_job, 0]


def test_polishing_ends_on_the_true_tracks_as_well_as_from_relions_own_start(
    polished, our_job, relion_job
):
    assert polished[our_job, 10000] < 0.4
    assert polished[our_job, 10000] < 1.001 * polished[relion_job, 10000]
