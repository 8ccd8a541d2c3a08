<?php
// Which of the custom variables that are given, a JSON object on standard input, Icinga Web shows as
// "***" by its configuration: Icinga DB Web to somebody of the group "operators", or the module
// "monitoring" to everybody, as the first argument says.

use Icinga\Authentication\AdmissionLoader;
use Icinga\Module\Icingadb\Common\Auth;
use Icinga\Module\Monitoring\Object\MonitoredObject;
use Icinga\User;
use ipl\Stdlib\Filter;

require __DIR__ . '/icinga_web.php';

$variables = json_decode(stream_get_contents(STDIN), true);
if ($argv[1] === 'monitoring') {
    $shown = MonitoredObject::protectCustomVars($variables);
} else {
    $reader = new class {
        use Auth;

        public function shown($list, $name, $value)
        {
            $row = (object) array('flatname' => $name);
            return Filter::match($this->parseDenylist($list, 'flatname'), $row) ? $value : '***';
        }
    };
    $user = new User('somebody');
    $user->setGroups(array('operators'));
    (new AdmissionLoader())->applyRoles($user);
    $shown = array();
    foreach ($user->getRoles() as $role) {
        foreach ($variables as $name => $value) {
            $list = $role->getRestrictions('icingadb/protect/variables');
            $shown[$name] = $reader->shown($list, $name, $value);
        }
    }
}
echo json_encode($shown);
