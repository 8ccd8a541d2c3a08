"""The template for PNP4Nagios: PHP that adds to ``$ds_name``, ``$opt`` and ``$def``."""

from __future__ import annotations

from contrib.generate.colours import COLOURS, CRITICAL, DAYS, HEALTHY, STACKED, TIME, WARNING

TEMPLATE = r"""<?php
#
# Graphs of check_smtp_health for PNP4Nagios: for each target its stages, stacked, with
# the response time as a line above them; and all else that was measured, with its limits.
#
# Copy it into PNP's folder templates/ and check_smtp_health.cfg into etc/check_commands/, under the
# names of your check commands: check_smtp_health, check_submission_health, with Icinga smtp_health.
# Written by contrib/generate.
#
$stacked = array(
@STACKED@);
$colours = $stacked + array(
@OTHERS@);
$warning = '@WARNING@';
$critical = '@CRITICAL@';

# PNP has set them to false, and PHP 8 complains where that becomes an array.
$ds_name = array();
$opt = array();
$def = array();

# The labels of several targets are TARGET::label.
$targets = array();
foreach ($this->DS as $metric) {
    $parts = explode('::', $metric['LABEL']);
    $label = array_pop($parts);
    $targets[implode('::', $parts)][$label] = $metric;
}

$graph = 0;
$numbers = array('LAST', 'AVERAGE', 'MAX');
foreach ($targets as $target => $metrics) {
    $where = trim("$hostname / $servicedesc $target");
    $stages = array_intersect_key($stacked, $metrics);
    if ($stages) {
        $graph++;
        $ds_name[$graph] = trim("stages $target");
        $opt[$graph] = "--vertical-label \"s\" --lower-limit 0 --title \"Stages of $where\" ";
        $def[$graph] = '';
        foreach ($stages as $stage => $colour) {
            $metric = $metrics[$stage];
            $def[$graph] .= rrd::def("{$stage}_all", $metric['RRDFILE'], $metric['DS'], 'AVERAGE');
            # What is unknown would take all that lies upon it out of the picture.
            $def[$graph] .= rrd::cdef($stage, "{$stage}_all,UN,0,{$stage}_all,IF");
        }
        $is_stacked = false;
        foreach ($stages as $stage => $colour) {
            $def[$graph] .= rrd::area($stage, $colour, rrd::cut($stage, 9), $is_stacked);
            $is_stacked = true;
            $def[$graph] .= rrd::gprint("{$stage}_all", $numbers, '%6.3lf s');
        }
        if (isset($metrics['time'])) {
            $metric = $metrics['time'];
            $def[$graph] .= rrd::def('whole', $metric['RRDFILE'], $metric['DS'], 'AVERAGE');
            $def[$graph] .= rrd::line2('whole', $colours['time'], rrd::cut('time', 9));
            $def[$graph] .= rrd::gprint('whole', $numbers, '%6.3lf s');
        }
    }
    foreach (array_diff_key($metrics, $stages) as $label => $metric) {
        $graph++;
        $unit = $metric['UNIT'];
        $colour = isset($colours[$label]) ? $colours[$label] : '@OTHER@';
        $ds_name[$graph] = trim("$label $target");
        $opt[$graph] = "--vertical-label \"$unit\" --lower-limit 0 --title \"$label of $where\" ";
        $def[$graph] = rrd::def('value', $metric['RRDFILE'], $metric['DS'], 'AVERAGE');
        $def[$graph] .= rrd::area('value', "{$colour}60");
        $def[$graph] .= rrd::line1('value', $colour, rrd::cut($label, 16));
        $def[$graph] .= rrd::gprint('value', $numbers, "%6.3lf $unit");
        # A limit is a number, or a range of which either end may be open. A rule never changes the
        # scale: one that is far above is not in the picture.
        foreach (array('WARN' => $warning, 'CRIT' => $critical) as $kind => $rule) {
            foreach (array($kind, "{$kind}_MIN", "{$kind}_MAX") as $end) {
                if (isset($metric[$end]) && is_numeric($metric[$end])) {
                    $limit = strtolower($kind) . " {$metric[$end]}\\n";
                    $def[$graph] .= rrd::hrule($metric[$end], $rule, $limit);
                }
            }
        }
    }
}
?>
"""


def template() -> str:
    """Return the file."""
    others = {
        **{stage: colour for stage, colour in COLOURS.items() if stage not in STACKED},
        "time": TIME,
        "certificate_days": DAYS,
        "healthy": HEALTHY,
    }
    text = TEMPLATE
    for name, value in (
        ("STACKED", _entries({stage: COLOURS[stage] for stage in STACKED})),
        ("OTHERS", _entries(others)),
        ("WARNING", WARNING),
        ("CRITICAL", CRITICAL),
        ("OTHER", HEALTHY),
    ):
        text = text.replace(f"@{name}@", value)
    return text


def _entries(colours: dict[str, str]) -> str:
    return "".join(f"    '{label}' => '{colour}',\n" for label, colour in colours.items())
