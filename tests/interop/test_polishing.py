"""Bayesian polishing starts from our motion, on particles whose places and tracks are known."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flexalign.io.star import read_star, star_list, star_loop, write_star
from flexalign.simulate import placing, specimen
from flexalign.simulate.movie import Canvas

GAIN, DOSE = "Movies/a.b_gain.mrc", 1.0
BOX_PX = 96
FINEST_A = 3.9
# The simulator turns atoms (y, x, depth); RELION wants (x, y, z), also right-handed.
TO_RELION = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


def places_and_turns(movie):
    """Where the simulator put its particles (n, 2) (y, x), px, and how it turned them."""
    canvas = Canvas.around(movie.settings, [movie.motion])
    rng = np.random.default_rng([movie.settings.seed, 2])
    places = placing.places_px(movie.settings, canvas.shape_px, rng)
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
    atoms = (placing.particle_atoms_A() @ TO_RELION.T)[:, ::-1] / settings.pixel_size_A
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


def write_particles(path, movie, micrograph, binning):
    """RELION's list of the particles that are well inside the frame; their true places (n, 2)."""
    settings, rows, kept = movie.settings, [], []
    height, width = settings.shape_px
    for (y, x), turn in zip(*places_and_turns(movie), strict=True):
        edge = min(y, x, height - y, width - x)
        if edge > BOX_PX // 2:
            kept.append((y, x))
            picked = [binning * round(p / binning) for p in (x, y)]
            offset_A = [
                (pick - p) * settings.pixel_size_A for pick, p in zip(picked, (x, y), strict=True)
            ]
            coordinates = [pick / binning for pick in picked]
            place = [*coordinates, f"{len(kept)}@p.mrcs", micrograph, 1]
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


def track_error_A(path, movie, places, frames):
    """Distance of RELION's tracks from the true ones, root mean square, means removed."""
    blocks = read_star(path)
    tracks = np.array(
        [
            [list(map(float, block[f"rlnOrigin{axis}Angst"])) for axis in "YX"]
            for block in blocks.values()
            if "rlnOriginXAngst" in block
        ]
    ).transpose(0, 2, 1)
    true = np.stack([np.stack(movie.displacement_at(frames, y, x), axis=-1) for y, x in places])
    difference = tracks - true * movie.settings.pixel_size_A
    difference -= difference.mean(axis=1, keepdims=True)
    return float(np.sqrt((difference**2).sum(axis=-1).mean()))


@pytest.fixture(scope="module")
def polish(project, relion, tmp_path_factory):
    """Error in Angstrom of the tracks that RELION polishes, started from the motion of a job."""
    folder = tmp_path_factory.mktemp("reference")
    write_reference(folder, project.movie.settings)

    def error_A(job, root, rounds, binning=1, frames=range(10)):
        particles = folder / "particles.star"
        micrograph = f"{job}/Movies/{root}.mrc"
        places = write_particles(particles, project.movie, micrograph, binning)
        assert len(places) > 10
        out = folder / f"{job.replace('/', '_')}_{rounds}"
        relion(
            project.folder, "motion_refine", "--i", particles, "--f", folder / "fsc.star",
            "--m1", folder / "half1.mrc", "--m2", folder / "half2.mrc",
            "--mask", folder / "mask.mrc", "--corr_mic", f"{job}/corrected_micrographs.star",
            "--o", f"{out}/", "--s_vel", 2, "--max_iters", rounds, "--j", 2,
            "--first_frame", frames[0] + 1, "--last_frame", frames[-1] + 1,
        )  # fmt: skip
        path = out / "Movies" / f"{root}_tracks.star"
        return track_error_A(path, project.movie, places, np.array(frames))

    return error_A


def test_polishing_starts_on_the_true_tracks(polish, our_job, relion_job):
    ours = polish(our_job, "a_b", rounds=0)

    assert ours < 0.2
    assert ours < polish(relion_job, "a_b", rounds=0)


def test_polishing_ends_on_the_true_tracks_as_well_as_from_relions_own_start(
    polish, our_job, relion_job
):
    ours = polish(our_job, "a_b", rounds=10000)

    assert ours < 0.4
    assert ours < 1.001 * polish(relion_job, "a_b", rounds=10000)


def test_binned_micrographs_and_some_of_the_frames_are_polished_alike(
    polish, project, flexalign, relion
):
    movies = project.movies_star("Movies/c.tiff")
    flexalign(
        project.folder, "relion-job", "--in_movies", movies, "--o", "External/job011/", "--j", 2,
        "--gain", GAIN, "--dose-per-frame", DOSE, "--patches", 3, 4, "--binning", 2,
        "--align-first", 2, "--align-last", 9,
    )  # fmt: skip

    error_A = polish("External/job011", "c", rounds=0, binning=2, frames=range(1, 9))

    assert error_A < 0.2
