"""The clock plane against real TCP and gloo: see benchmarks/accuracy.py."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import accuracy  # noqa: E402
import typer  # noqa: E402
from calibration import Calibration  # noqa: E402
from measured_links import PUBLIC, Row, read  # noqa: E402
from predictions import predict  # noqa: E402


@pytest.fixture(scope="module")
def judged():
    rows = read(PUBLIC)
    calibration = Calibration(rows)
    return [
        accuracy.Judged(row, predict(row, calibration.overhead_ns(row)), None)
        for row in rows
        if accuracy.is_scored(row) or row.op == "async_rounds_per_s"
    ]


def check(judged, number, median=None, ninth_decile=None, maximum=None):
    assert len(judged) == number
    errors = [abs(each.error) for each in judged]
    for quantile, bar in ((0.5, median), (0.9, ninth_decile), (1, maximum)):
        assert bar is None or np.quantile(errors, quantile) <= bar


def test_accepted_rows(judged):
    rows = [each for each in judged if accuracy.is_scored(each.row)]
    check(rows, 444, 0.007, 0.045, 0.35)


def test_rows_with_latency(judged):
    rows = [each for each in judged if accuracy.is_scored(each.row) and each.row.has_latency]
    check(rows, 163, ninth_decile=0.065)


def test_rounds_of_asynchronous_loops(judged):
    rows = [each for each in judged if each.row.op == "async_rounds_per_s"]
    check(rows, 22, 0.009, 0.09)


def test_ends_of_single_flows(judged):
    rows = [each for each in judged if accuracy.is_scored(each.row) and each.row.flow is not None]
    check(rows, 26, ninth_decile=0.15)


def test_the_command_predicts_every_row_of_configurations_that_it_has_never_seen(tmp_path):
    app = typer.Typer()
    app.command()(accuracy.main)
    measured, out = tmp_path / "others.csv", tmp_path / "out.csv"
    header = PUBLIC.read_text().splitlines()[0]
    measured.write_text(
        f"{header}\n"
        "s3_10_l3,star,3,10,3,0,p2p,65536,0.0607,0,0,0,5,ok,yes,\n"
        "s3_10_l3,star,3,10,3,0,all_reduce,65536,0.2,0,0,0,5,ok,yes,\n"
        "s3_10_l3,star,3,10,3,0,async_rounds_per_s,65536,4,0,0,0,1,single-run,async,\n"
        "s3_10_l3_buf32k,star,3,10,3,0,ps_round,65536,0.4,0,0,0,5,ok,yes,\n"
        "mixed,star,3,10|20|10,1|2|3,0,broadcast,65536,0.2,0,0,0,5,ok,yes,\n"
        'racks,racks,6,10,0,20,flows3_1M_1M_1M#flow2,65536,0.2,0,0,0,5,ok,yes,"[1, 2, 3]"\n'
    )

    result = CliRunner().invoke(app, [str(measured), "--predictions", str(out), "--no-tables"])

    assert result.exit_code == 0, result.output
    with out.open() as file:
        predicted = list(csv.DictReader(file))
    assert list(predicted[0]) == ["config", "op", "bytes", "predicted_s"]
    assert [each["config"] for each in predicted] == [
        "s3_10_l3", "s3_10_l3", "s3_10_l3", "s3_10_l3_buf32k", "mixed", "racks",
    ]  # fmt: skip
    assert all(float(each["predicted_s"]) > 0 for each in predicted)
    # Three equal flows over a trunk of twice a node's rate: each has two thirds of its link.
    flow_s = float(predicted[-1]["predicted_s"])
    assert flow_s == pytest.approx(1.5 * 8 * 2**20 * 1514 / 1448 / 10e6, rel=0.01)


def test_an_unknown_operation_is_an_error_that_names_it():
    row = Row("s2", "star", 2, (1.0, 1.0), (0.0, 0.0), 0.0, "all_to_all", 1, 1.0, "yes")

    with pytest.raises(ValueError, match="unknown operation 'all_to_all'"):
        predict(row, 0)


def test_a_file_without_a_column_is_refused_by_name(tmp_path):
    measured = tmp_path / "short.csv"
    measured.write_text("config,op,bytes\ns2,p2p,1\n")

    with pytest.raises(ValueError, match="no column topology, n, rate_mbit"):
        read(measured)
