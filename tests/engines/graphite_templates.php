<?php
// What Icinga Web's Graphite module, whose folder is the first argument, would ask Graphite for
// by the templates of the second: {check command: {template: {curve: pattern}}}.

use Icinga\Application\Cli;
use Icinga\Module\Graphite\Graphing\Templates;

require '/usr/share/php/Icinga/Application/Cli.php';
Cli::start('/usr/share/icingaweb2');

list(, $module, $file) = $argv;
spl_autoload_register(function ($class) use ($module) {
    $name = str_replace(array('Icinga\\Module\\', '\\'), array('', '/'), $class);
    require "$module/library/$name.php";
});

$asked = array();
foreach ((new Templates())->loadIni($file)->getAllTemplates() as $command => $templates) {
    foreach ($templates as $name => $template) {
        foreach ($template->getFullCurves() as $curve => list($pattern)) {
            $asked[$command][$name][$curve] = $pattern->resolve(array(), '*');
        }
    }
}
echo json_encode($asked);
